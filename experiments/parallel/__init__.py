"""`parallel`: whether all steps of a recurrence at once would pay."""
