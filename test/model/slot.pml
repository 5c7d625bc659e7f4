/*
 * One record of a table, used for one handle after another (Check, lookup, empty and
 * forget in cap.go): what a check reads beside the state belongs to the handle that it
 * was asked about, and what trap context has found is not dropped under its hands.
 *
 * Generation g has object g and came through gate g.
 */

#define HANDLES 3
#define NOTHING 0

byte state;			/* the generation while there is a handle, NOTHING else */
byte generation;
byte object, via;
bool shut[HANDLES + 1];		/* gates */
bool dropped[HANDLES + 1];	/* objects that the collector may have */
byte trapping, awaited;

byte stale, gates, dangling;
#define MUST(name, condition) assert(name || (condition))

proctype Owner() {
	byte g;

	do
	:: generation < HANDLES ->
		g = generation + 1;	/* take, fill */
		generation = g;
		via = g;
		object = g;
		state = g;
		state = NOTHING;	/* empty */
		awaited = trapping;
		awaited == 0;		/* the barrier */
		object = NOTHING;	/* forget */
		via = NOTHING;
		dropped[g] = true
	:: else -> break
	od
}

/* Shuts gates, at any time. */
proctype Shutter() {
end:	do
	:: !shut[1] -> shut[1] = true
	:: !shut[2] -> shut[2] = true
	od
}

/* Check and Lookup of the handle of generation want. */
proctype Checker() {
	byte want, v, o, s;
	bool late;	/* the gate was shut when the check began */

end:	do
	:: atomic {
		if
		:: want = 1
		:: want = 2
		fi;
		late = shut[want]
	   };
again:	   s = state;
	   if
	   :: s != want -> goto refused
	   :: else
	   fi;
	   v = via;
	   if
	   :: shut[v] -> goto refused
	   :: else
	   fi;
	   o = object;
	   if
	   :: state != s -> goto again
	   :: else
	   fi;
	   MUST(stale, o == want);
	   MUST(gates, v == want && !late);
refused:   atomic { want = 0; v = 0; o = 0; s = 0; late = false }
	od
}

/* The same in trap context, which uses what it has found and is pinned to nothing. */
proctype Trap() {
	byte want, o, s;

end:	do
	:: trapping = 1;
	   if
	   :: want = 1
	   :: want = 2
	   fi;
again:	   s = state;
	   if
	   :: s != want -> goto refused
	   :: else
	   fi;
	   o = object;
	   if
	   :: state != s -> goto again
	   :: else
	   fi;
	   MUST(stale, o == want);
	   MUST(dangling, !dropped[o]);	/* the call */
refused:   atomic { trapping = 0; awaited = 0; want = 0; o = 0; s = 0 }
	od
}

init { atomic { run Owner(); run Shutter(); run Checker(); run Trap() } }
