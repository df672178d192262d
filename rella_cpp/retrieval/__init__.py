"""Which behaviors of a history a prompt shows, and the item vectors that this is decided by (ReLLa §3.2, SUBR).

`history` chooses and orders; `vectors` embeds items with the model that scores, or looks them up in an `index`;
`samples` does the same for the samples of a data set.
"""
