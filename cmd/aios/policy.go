package main

import "aios/policy"

// policyBundle is what goes into the image: the policy that this program ships.
func policyBundle() ([]byte, error) { return policy.Bundle(policy.Default()) }
