"""The diagnosis wing: replays a bad step and says which operation, image, label row or setting made it bad."""
