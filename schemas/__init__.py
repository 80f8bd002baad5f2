"""The contract everyone shares: one typed value per topic. Imports pydantic and the standard library only."""
