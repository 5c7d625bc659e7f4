/*
 * One capability on its way between two tables, step by step (move.go, revoke.go, and
 * Enter in cap.go): taken into a message, received, put back, or closed, while threads
 * of both processes guess its handle, and one revocation ends it wherever it is.
 *
 * Every access to what a lock does not cover is a step. Each table has one slot, which
 * an unrelated handle may use while the capability does not.
 */

#define NOWHERE 2		/* in no table */

/* What a slot is for. */
#define FREE 0
#define RESERVED 1
#define HELD 2
#define OTHER 3

bool locked[2];			/* the tables */
bool family;			/* the tree's lock */
bool valid[2];			/* the state of the record says that it is a handle */
byte slot[2];
byte table;			/* node.table */
bool dead, gone, told;
byte pins;
byte trapping, awaited[6];	/* by _pid: see tree.pml */

bool begun, returned;		/* the revocation */
bool inflight;

byte revoked, finished, slots, objects;
#define MUST(name, condition) assert(name || (condition))

#define BIT(i) (1 << (i))
#define LOCK(l) atomic { !l -> l = true }
#define UNLOCK(l) l = false
#define BARRIER awaited[_pid] = trapping; awaited[_pid] == 0

/* Drop: the object is told, once, and the node is a tombstone from here on. */
inline drop() {
	inflight = false;
	told = true;
	gone = true;
	LOCK(family);
	UNLOCK(family)
}

proctype Mover() {
	byte at, to;

	do
	::	/* Take: one holds the handle at this time, another may have lost it */
		to = 1 - at;
		LOCK(locked[at]);
		if
		:: !valid[at] -> UNLOCK(locked[at]); break
		:: else
		fi;
		valid[at] = false;
		table = NOWHERE;
		inflight = true;
		BARRIER;
		MUST(slots, slot[at] == HELD);
		slot[at] = FREE;
		UNLOCK(locked[at]);
again:		if
		:: drop(); break
		:: atomic { !locked[to] && slot[to] == FREE -> slot[to] = RESERVED };	/* Reserve */
		   if
		   :: skip;	/* it cannot be written: Release, and it is queued again */
		      LOCK(locked[to]);
		      MUST(slots, slot[to] == RESERVED);
		      slot[to] = FREE;
		      UNLOCK(locked[to]);
		      goto again
		   :: skip	/* Fill */
		   fi;
		   LOCK(locked[to]);
		   MUST(slots, slot[to] == RESERVED);
		   table = to;
		   if
		   :: dead ->
			table = NOWHERE;
			slot[to] = FREE;
			UNLOCK(locked[to]);
			drop();
			break
		   :: else
		   fi;
		   slot[to] = HELD;
		   inflight = false;
		   valid[to] = true;
		   UNLOCK(locked[to])
		fi;
		at = to
	od;
	MUST(objects, told || begun)
}

inline enter() { MUST(revoked, !returned) }
inline effect() { MUST(finished, !returned) }

proctype Caller() {
	byte t;

end:	do
	:: if
	   :: valid[0] -> t = 0
	   :: valid[1] -> t = 1
	   fi;
	   pins++;
	   if
	   :: atomic { valid[t] -> enter() };
	      if	/* what the call does, or that it waits for the object's end */
	      :: effect()
	      :: skip;
endwait:	 told;
		 effect()
	      fi
	   :: !valid[t]
	   fi;
	   atomic { pins--; t = 0 }
	od
}

proctype Trap() {
end:	do
	:: atomic { valid[0] || valid[1] -> trapping = trapping | BIT(_pid); enter() };
	   atomic {
		effect();
		trapping = 0;
		awaited[1] = 0; awaited[4] = 0
	   }
	od
}

proctype Revoker() {
	byte t;

	begun = true;
	LOCK(family);
	dead = true;
	do
	:: t = table;
	   if
	   :: t == NOWHERE -> break
	   :: else
	   fi;
	   LOCK(locked[t]);
	   if
	   :: table == t ->
		valid[t] = false;
		table = NOWHERE;
		UNLOCK(locked[t]);
		break
	   :: else -> UNLOCK(locked[t])	/* it has moved meanwhile */
	   fi
	od;
	UNLOCK(family);
	BARRIER;
	if
	:: t != NOWHERE ->
		LOCK(locked[t]);
		MUST(slots, slot[t] == HELD);
		slot[t] = FREE;
		UNLOCK(locked[t])
	:: else
	fi;
	told = true;
	pins == 0;
	atomic {
		returned = true;
		MUST(revoked, !valid[0] && !valid[1]);
		MUST(objects, told)
	}
}

/* Slots that the capability leaves are used for other handles. */
proctype Stranger() {
	byte t;

end:	do
	:: atomic {
		if
		:: t = 0
		:: t = 1
		fi;
		!locked[t] && slot[t] == FREE -> slot[t] = OTHER
	   };
	   atomic { !locked[t] -> MUST(slots, slot[t] == OTHER && !valid[t]); slot[t] = FREE; t = 0 }
	od
}

init {
	atomic {
		valid[0] = true; slot[0] = HELD;
		run Mover(); run Caller(); run Trap(); run Revoker(); run Stranger()
	}
}

ltl terminates { [] (begun -> <> returned) }
