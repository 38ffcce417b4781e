"""The subcommands `archroute eval` and `archroute calibrate`. They import nothing heavy before they run."""
