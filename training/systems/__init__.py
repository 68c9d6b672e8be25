"""What a single system needs beside the common training."""
