"""The Gradio app: explore trees, judge them, talk to the model. `spaces/treecot` is what a Space on the Hub holds."""
