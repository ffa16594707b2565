"""The fine-tuning wing: what helps to choose the settings of a training."""
