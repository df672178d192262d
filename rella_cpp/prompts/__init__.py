"""All wording and tokenising, and nothing else: from records to a prompt's tokens, ready to decode.

`yes_no`, `choice` and `summary` write the text in a domain's words; `chat` puts it into the model's chat frame;
`builder` turns both into a question: tokens, where they are cut, and the answer tokens.
"""
