"""From a data set's ratings to a bundle: rows, a trained adapter, a calibration, figures."""
