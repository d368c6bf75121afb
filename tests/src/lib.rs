//! Whole-system tests: the parts of the project put together, as a user would.
