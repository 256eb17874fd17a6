"""What an operator does with the state of a group: look at it, take it elsewhere, bring it back, go past a bad record.

`reading` builds partitions from a log, outside of any group. `rows` shows what is known of a stream. `moving` gives
streams to the partitions of another count. `group` puts offsets and state of a stopped group in place, as one.
`files` reads the directory of an input of files.
"""
