"""Claims about many images: `bounds` of counts, shares and means; `multiplicity` of claims."""
