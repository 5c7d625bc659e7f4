package captoken

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// document is the page that describes the format.
func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/token-format.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The page names every right, claim and size as the code has it.
func TestDocument(t *testing.T) {
	text := document(t)
	_, rights, _ := strings.Cut(text, "<!-- rights -->")
	rights, _, _ = strings.Cut(rights, "### Scopes")
	if n := strings.Count(rights, "\n| ") - 2; n != endOfRights {
		t.Errorf("%d rights are described, there are %d", n, endOfRights)
	}
	var rows []string
	for i, name := range RightNames() {
		rows = append(rows, fmt.Sprintf("| %d | %s | %s |", i, name, rightTexts[i]))
	}
	for key, name := range map[int]string{
		claimRights: "rights", claimScopes: "scopes", claimQuotas: "quotas", claimEpoch: "epoch", claimLease: "lease", claimDepth: "depth", claimParent: "parent", claimToken: "token", claimRevokedTokens: "tokens", claimRevokedLeases: "leases", claimRevokedSubjects: "agents",
		claimDuration: "duration", claimBoot: "boot", claimResetCount: "reset count", claimSequence: "sequence", claimOrder: "order", claimRole: "role",
		claimAction: "action", claimTarget: "target", claimReason: "reason", claimIssuer: "iss", claimSubject: "sub", claimAudience: "aud", claimExpires: "exp",
		claimNotBefore: "nbf", claimIssuedAt: "iat", claimID: "cti", claimHolder: "cnf", claimNonce: "nonce",
	} {
		rows = append(rows, fmt.Sprintf("| %d | %s |", key, name))
	}
	for _, a := range Algorithms() {
		key, signature := a.sizes()
		rows = append(rows, fmt.Sprintf("| %d | %s | %d | %d |", a, a, key, signature))
	}
	for what, file := range map[string]string{"token, minimal claims": "token-minimal", "token, every claim": "token-full", "and one delegation": "token-one-delegation",
		"and four delegations": "token-four-delegations", "lease": "lease-good", "command": "command-kill-agent", "receipt": "receipt-command", "proof of possession": "proof-good",
		"revocation list, empty": "revocations-empty"} {
		rows = append(rows, fmt.Sprintf("| %s | %d |", what, len(readVector(t, vectorDir+"/"+file+".txt").body)))
	}
	for _, row := range rows {
		if !strings.Contains(text, row) {
			t.Errorf("docs/token-format.md lacks %q", row)
		}
	}
}
