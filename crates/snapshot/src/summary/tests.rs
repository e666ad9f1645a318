//! The screen and PyTorch's text.
