"""The v1 document as types: every block closed, every key named once."""
