"""Artists by class: what a configuration asks for, and the module that a bundle's `denoise`, `encode`, `decode` are."""
