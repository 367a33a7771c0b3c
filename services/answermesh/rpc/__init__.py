"""What every server and every channel of the mesh shares: deadlines, errors, validation, health, reflection, drain.

server    Server: a gRPC server whose handlers raise Failure and whose end loses no call
channel   open_channel: a channel that balances, retries, notices a hung peer and passes the deadline on
options   the numbers of both, with their sources
edge      what happens around each handler
status    Failure <-> google.rpc.Status
validate  REQUIRED fields, and the limits that the protos state
deadline  the deadline of the call, tenancy the tenant of the call, pages the tokens of its lists
health, reflection, forward, listen   parts of the server
"""
