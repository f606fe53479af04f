"""The GPU node: claims attempts, launches and watches them, ships what they make. Speaks HTTP."""
