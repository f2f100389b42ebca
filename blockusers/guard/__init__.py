"""The deny list that blocks people when they write.

`guard` is shown every incoming message, matches it against the `deny_list`, and writes down whom to
block as `intents`; the `drain` of each business number carries them out. `webhooks` reads what Meta
posts, `stores` keep it all.
"""
