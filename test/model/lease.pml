/*
 * A check of one gate beside all that can shut it (gate.go and via.go): the lease ends,
 * is renewed, or gives way to another; the epoch rises; the token ends, is replaced by
 * a newer one, or shut; what has left the table is recalled. One thread changes things,
 * and each store and each load is a step.
 */

#define LATEST 3		/* the last moment of the clock, and of any lease or token */
#define CHANGES 4

byte now;			/* the clock */
byte leaseNumber = 1, leaseUntil = 2, leaseEpoch;
byte gateEpoch, gateUntil = 2, loan;	/* of a gate under lease 1 */

byte held = 2;			/* until when lease 1 is held, 0 once it is not */
bool shut, recalled;
byte tokenEpoch, tokenUntil = 2;	/* what the token in force says; both at once */
byte changes;

byte lease, token, shuts, recall;
#define MUST(name, condition) assert(name || (condition))

proctype Clock() {
	do
	:: now < LATEST -> now++
	:: else -> break
	od
}

/* What the token in force and the lease say together, for the ghosts of checks. */
#define admitted(t) (!shut && tokenEpoch >= leaseEpoch && (t) < tokenUntil)

byte asked;			/* the time of the check that is under way */
bool wasAdmitted, wasHeld;	/* at some moment of it */
#define WATCH wasAdmitted = wasAdmitted || admitted(asked); wasHeld = wasHeld || asked < held

proctype Changer() {
	byte u, e;

end:	do
	:: atomic { changes < CHANGES -> changes++;
		if
		:: skip -> goto beginLease
		:: skip -> goto renew
		:: skip -> goto endLease
		:: leaseEpoch < 2 -> goto epoch
		:: skip -> goto move
		:: !shut -> goto shutGate
		:: !recalled -> goto recallAll
		fi
	   };
beginLease:
	   leaseUntil = 0;
	   atomic { leaseNumber = (leaseNumber < 3 -> leaseNumber + 1 : 3); held = 0 };
	   leaseUntil = LATEST;
	   goto next;
renew:	   atomic { leaseUntil = LATEST;
		if
		:: leaseNumber == 1 -> held = LATEST; WATCH
		:: else
		fi
	   };
	   goto next;
endLease:  atomic { leaseUntil = 0; held = 0 };
	   goto next;
epoch:	   atomic { leaseEpoch++; WATCH };
	   goto next;
move:	   atomic {	/* installation has refused a token that is over, or of a lower epoch */
		if
		:: u = 1
		:: u = 2
		:: u = LATEST
		fi;
		u > now;
		e = leaseEpoch
	   };
	   if
	   :: gateUntil == 0 -> goto next
	   :: else
	   fi;
	   atomic { tokenEpoch = e; tokenUntil = u; gateUntil = u; WATCH };
	   gateEpoch = e;
	   goto next;
shutGate:  atomic { shut = true; gateUntil = 0 };
	   goto next;
recallAll: atomic { recalled = true; loan++ };
next:	   atomic { u = 0; e = 0 }
	od
}

/* What came through the gate when its loan was 0, in another's table. */
proctype Checker() {
	bool wasShut, wasRecalled;
	byte a;

end:	do
	:: atomic { asked = now; wasShut = shut; wasRecalled = recalled; wasAdmitted = false; wasHeld = false; WATCH };
	   if
	   :: loan != 0 -> goto refused
	   :: else
	   fi;
	   if
	   :: asked >= leaseUntil -> goto refused
	   :: else
	   fi;
	   if
	   :: leaseNumber != 1 -> goto refused
	   :: else
	   fi;
	   a = gateEpoch;
	   if
	   :: a < leaseEpoch -> goto refused
	   :: else
	   fi;
	   if
	   :: asked >= gateUntil -> goto refused
	   :: else
	   fi;
	   MUST(lease, wasHeld);
	   MUST(token, wasAdmitted);
	   MUST(shuts, !wasShut);
	   MUST(recall, !wasRecalled);
refused:   atomic { asked = 0; wasShut = false; wasRecalled = false; wasAdmitted = false; wasHeld = false; a = 0 }
	od
}

init { atomic { run Clock(); run Changer(); run Checker() } }
