/*
 * How a revocation waits for the calls that are pinned to a node (pin, unpin, wake and
 * drain in tree.go): a count, and a channel that is closed when it falls to 0. The
 * record is made invalid before; a call that is pinned looks at the record again.
 */

#ifndef CALLERS
#define CALLERS 3
#endif

#define NIL 0			/* node.drained: no channel, or the first, second ... */
#define CHANNELS 8

bool valid = true;		/* the record */
byte pins;
byte drained;			/* the channel that is to be closed */
bool closed[CHANNELS];
byte made;			/* channels */
byte using;			/* calls that have found the record good */
bool killed, returned;

byte finished, revoked, channels;
#define MUST(name, condition) assert(name || (condition))

active [CALLERS] proctype Caller() {
	byte done;
	bool last;

end:	do
	:: valid;		/* Lookup */
	   pins++;		/* pin */
	   if
	   :: atomic { valid -> using++; MUST(revoked, !returned) };
	      atomic { MUST(finished, !returned); using-- }
	   :: !valid
	   fi;
	   atomic { pins--; last = (pins == 0) };	/* unpin: an addition that tells the sum */
	   if
	   :: last ->
		atomic { done = drained; drained = NIL };
		if
		:: done != NIL -> atomic { MUST(channels, !closed[done]); closed[done] = true; done = NIL }
		:: else
		fi;
		last = false
	   :: else
	   fi
	od
}

active proctype Drain() {
	byte done;

	valid = false;
	killed = true;
	do
	:: atomic { made++; done = made; MUST(channels, made < CHANNELS) };
	   drained = done;
	   if
	   :: pins == 0 -> break
	   :: else
	   fi;
	   closed[done]
	od;
	atomic { returned = true; MUST(finished, using == 0) }
}

ltl terminates { [] (killed -> <> returned) }
