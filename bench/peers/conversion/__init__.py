"""From one checkpoint to the files of each peer."""
