"""The data sets, one file each: `Options`, and `load(image_size, seed, root, options) -> DataSet`."""
