"""One module for each library that can make the decision; it imports that library and none of the others."""
