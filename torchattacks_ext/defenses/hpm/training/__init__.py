"""How is an HPM head trained? `finetune`, with `tuning`, `losses`, and the `supply` of images."""

from .finetune import finetune_hpm as finetune_hpm
