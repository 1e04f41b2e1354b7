"""What a run came to, for people: a table, a page, pictures. It only shows; it computes nothing that others need."""
