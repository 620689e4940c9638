"""What all buses have in common, whichever they are."""
