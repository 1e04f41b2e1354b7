"""What a Space on the Hub holds; `treecot publish --space` adds the package itself."""
