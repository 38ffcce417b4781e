"""From what the model says at each branch to a temperature and a minimum probability."""
