"""How results look in a terminal and as JSON, and the progress bar meanwhile.

A view takes what the library found, and prints it; it knows no options and computes no result. All texts to print are
made in `terminal`. Rich takes long to import, so commands import a view once they have something to show.
"""
