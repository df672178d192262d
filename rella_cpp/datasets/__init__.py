"""Data sets: from the files as downloaded to one table format (`prepare`), and back as records (`dataset`).

`formats` knows what each data set's files mean, `tables` how rows are read out of files of any kind, `rankings` the
lists of other recommenders. Which samples there are and who trains is decided here, and nowhere else.
"""
