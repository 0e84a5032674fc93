"""What figures are drawn with: `axes` and `charts` as SVG, `pictures` as PNG in data URIs."""
