"""The gateway: it checks who calls, adds the lane's key, relays, meters, and probes lanes.

Rooms, from the ground up; imports go down only:

    wire               the dialects of agents and model servers
    cluster            what is known of runs, lanes and pods: who calls, and where to
    ledger             a row for every call, on the disk
    client | state     the agent's side of a call | what the operator may ask
    money | upstream   who may spend what | the model servers' side
    calls              the way of a call through all of it
    ports              the three listeners
"""
