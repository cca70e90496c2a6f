"""What a decision answers: a whole next status, effects, when to look again; and what is told of it as Events and spans. Pure."""
