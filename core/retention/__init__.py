"""How long a project keeps what it has: its policy, what is removed for it, and what is told afterwards."""
