"""What the addresses answer: pages and fragments for people, JSON for programs, verbs for both."""
