"""Cameras: capture in a killable child (`child`), watched by its parent (`capture`); a module per backend."""
