"""The demo's real servers, and faulty lines to put before them."""
