"""Networks for tables. All take numbers, (N, F) float32, and categories, (N, C) int64, and give (N, K)."""
