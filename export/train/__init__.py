"""Training of the default pair: frames in, weights and model cards out; resumable, on CPU or GPU."""
