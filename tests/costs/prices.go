package costs

// The prices are those of us-east-1 on demand, in dollars without taxes, as AWS's
// pages were known on priceDate: no test fetches them. The free tiers are those
// that do not end. The free tier of API Gateway (1 M calls a
// month) is for a year and for old accounts alone, and the credits of new
// accounts are spent once: neither is counted.
const (
	priceRegion = "us-east-1"
	priceDate   = "2026-11-25"
)

// An item is something that AWS bills.
type item int

const (
	writeUnits item = iota
	readUnits
	tableGB
	backupGB
	runs
	gbSeconds
	streamedGB
	gatewayCalls
	doorRequests
	doorRuns
	doorOutGB
	doorInGB
	queueCalls
	logGB
	logKeptGB
	timerRuns
	objectGB
	objectPuts
	objectGets
	outGB
	items // how many there are
)

type price struct {
	service string // as the tables split a bill
	what    string
	dollars float64 // for so many of it:
	per     float64
	free    float64 // a month
	source  string
}

const million = 1e6

// prices is the one list of prices.
var prices = [items]price{
	writeUnits:   {"DynamoDB", "write units, on demand", 0.625, million, 0, "aws.amazon.com/dynamodb/pricing/on-demand"},
	readUnits:    {"DynamoDB", "read units, on demand", 0.125, million, 0, "aws.amazon.com/dynamodb/pricing/on-demand"},
	tableGB:      {"DynamoDB", "GB of tables, a month", 0.25, 1, 25, "aws.amazon.com/dynamodb/pricing/on-demand"},
	backupGB:     {"DynamoDB", "GB of point-in-time recovery, a month", 0.20, 1, 0, "aws.amazon.com/dynamodb/pricing/on-demand"},
	runs:         {"Lambda", "runs of a function", 0.20, million, million, "aws.amazon.com/lambda/pricing"},
	gbSeconds:    {"Lambda", "GB-seconds, arm64", 0.0000133334, 1, 400_000, "aws.amazon.com/lambda/pricing"},
	streamedGB:   {"Lambda", "GB of answers by a function's URL, beyond 6 MB each", 0.008, 1, 100, "aws.amazon.com/lambda/pricing"},
	gatewayCalls: {"API Gateway", "calls of an HTTP API, each 512 KB", 1.00, million, 0, "aws.amazon.com/api-gateway/pricing"},
	doorRequests: {"CloudFront", "HTTPS requests, North America and Europe", 1.00, million, 10 * million, "aws.amazon.com/cloudfront/pricing"},
	doorRuns:     {"CloudFront", "runs of the front door's function", 0.10, million, 2 * million, "aws.amazon.com/cloudfront/pricing"},
	doorOutGB:    {"CloudFront", "GB to clients", 0.085, 1, 1024, "aws.amazon.com/cloudfront/pricing"},
	doorInGB:     {"CloudFront", "GB to the origin", 0.020, 1, 0, "aws.amazon.com/cloudfront/pricing"},
	queueCalls:   {"SQS", "calls, standard queue, each 64 KB", 0.40, million, million, "aws.amazon.com/sqs/pricing"},
	logGB:        {"CloudWatch", "GB of logs taken in", 0.50, 1, 5, "aws.amazon.com/cloudwatch/pricing"},
	logKeptGB:    {"CloudWatch", "GB of logs kept, a month", 0.03, 1, 5, "aws.amazon.com/cloudwatch/pricing"},
	timerRuns:    {"EventBridge", "runs of a rule on a schedule (AWS is vague; some say free)", 1.00, million, 0, "aws.amazon.com/eventbridge/pricing"},
	objectGB:     {"S3", "GB kept, a month", 0.023, 1, 0, "aws.amazon.com/s3/pricing"},
	objectPuts:   {"S3", "PUT", 5.00, million, 0, "aws.amazon.com/s3/pricing"},
	objectGets:   {"S3", "GET", 0.40, million, 0, "aws.amazon.com/s3/pricing"},
	outGB:        {"Transfer", "GB from functions to the internet", 0.09, 1, 100, "aws.amazon.com/ec2/pricing/on-demand"},
}

// Reads of a stream by Lambda cost nothing, nor does traffic between the services
// of a region and from an origin in AWS to CloudFront.

// services are those of the tables, in their order.
var services = []string{"DynamoDB", "Lambda", "API Gateway", "CloudFront", "SQS", "CloudWatch", "EventBridge", "S3", "Transfer"}

// A bill is how much of each item was used.
type bill [items]float64

func (b bill) times(n float64) bill {
	for i := range b {
		b[i] *= n
	}
	return b
}

func (b bill) plus(others ...bill) bill {
	for _, o := range others {
		for i := range b {
			b[i] += o[i]
		}
	}
	return b
}

// part is the dollars of a service, or of all for an empty one. A bill with the
// free tier is that of a month in an account that does nothing else.
func (b bill) part(service string, free bool) float64 {
	sum := 0.0
	for i, n := range b {
		p := prices[i]
		if free {
			n = max(0, n-p.free)
		}
		if service == "" || service == p.service {
			sum += n / p.per * p.dollars
		}
	}
	return sum
}

func (b bill) full() float64 { return b.part("", false) }

func (b bill) afterFree() float64 { return b.part("", true) }

// dominant is the service that most of the bill is for, with its share.
func (b bill) dominant(free bool) (string, float64) {
	most, all := services[0], b.part("", free)
	for _, s := range services {
		if b.part(s, free) > b.part(most, free) {
			most = s
		}
	}
	if all == 0 {
		return most, 0
	}
	return most, b.part(most, free) / all
}
