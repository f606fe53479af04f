"""What ranks do in tests: functions that ``tests.trainer.on_ranks`` calls on each of them."""
