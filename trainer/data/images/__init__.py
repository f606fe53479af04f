"""Images as they come (files in folders or archives, tables, MNIST's format) become one array of equal, upright 8-bit images."""
