"""Where labelled requests come from: each reader turns one published or own format into a `Source`."""
