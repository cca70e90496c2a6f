"""The operator: the world is read once, a decision is made purely, its effects are carried out, status is written once.

Rooms, from the ground up; imports go down only:

    facts                      what is known of runs, lanes and pods
    decision | health | pods   what a decision answers | how well models are | the pod of an attempt
    logs                       what an agent's log says
    ends                       how attempts and runs end
    limits                     money, tokens, turns and time
    chain                      the steps of a run, and which it may take
    between                    a run without a slot
    running | lane             a run with one | all runs of a lane, and its slots
    decide_run | decide_lane   the two decisions; with them ends what is pure
    memory                     what is kept between passes, and may be lost
    outside                    speaks to the API server and to the gateway
    loop                       which object is looked at when, and one pass over it
"""
