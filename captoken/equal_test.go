package captoken

import "reflect"

// equal compares values deeply. Times are all in UTC here.
func equal(a, b any) bool { return reflect.DeepEqual(a, b) }
