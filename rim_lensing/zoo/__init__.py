"""The pretrained models: found, checked, loaded, exported."""
