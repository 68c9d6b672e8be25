"""What the model is fed: samples, their order, their frames, and how training changes them."""
