"""The HTTP interface: a route is a row of one table (`routes.py`), reached by two doors.

exchange   a request and a response as values; an endpoint is an async function from one to the other
routes     the table: method, path, scope, endpoint
jobs, bulk, many, amend, listing, explain, events, queues, schedules, origin, clock, health   the endpoints, one file
           per resource
filters    which jobs are meant, in a query or a body; cursors
pages      what all lists have in common, and names in a path
problems   errors as application/problem+json
guard      what is checked before any endpoint: cross-site writes, hosts
front      the two doors: Quart-Trio for the whole table, and before it the hot rows straight from ASGI
"""
